"""The one form of the portal."""

from django import forms


class TopUp(forms.Form):
    """Test money that a customer of a merchant in test mode adds to the own balance."""

    amount = forms.DecimalField(
        label="Amount",
        min_value=0,
        max_digits=12,
        decimal_places=3,
        widget=forms.NumberInput(attrs={"placeholder": "25.00", "inputmode": "decimal", "step": "any"}),
    )
    key = forms.CharField(max_length=64, widget=forms.HiddenInput)  # a form sent twice adds once
