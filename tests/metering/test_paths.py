import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering import paths

DATA = {"a": {"b": [1, {"c c": "deep", "it's": 2, 'say "x"': 3}], "n": None}, "b-1": 4}


class TestParse:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("$.b-1", 4),
            ("$.a.b[0]", 1),
            ("$.a.b[1]['c c']", "deep"),
            ('$["a"]["b"][1]["c c"]', "deep"),
            (r"$.a.b[1]['it\'s']", 2),
            (r'$.a.b[1]["say \"x\""]', 3),
            ("$.a.n", None),
        ],
    )
    def test_leads_to_the_value(self, text, found):
        assert paths.find(paths.parse(text), DATA) == found

    @pytest.mark.parametrize("text", ["$.c", "$.a[0]", "$.a.b[2]", "$.a.b.c", "$.a.n.x", "$.b-1[0]", "$['a.b']"])
    def test_leads_nowhere(self, text):
        assert paths.find(paths.parse(text), DATA) is paths.MISSING

    @pytest.mark.parametrize(
        ("text", "position"),
        [
            ("", 0),
            ("tokens", 0),
            (" $.a", 0),
            ("$", 1),
            ("$.", 1),
            ("$a", 1),
            ("$..a", 1),
            ("$.*", 1),
            ("$.a[*]", 3),
            ("$.a[-1]", 3),
            ("$.a[01]", 3),
            ("$.a[0:1]", 3),
            ("$.a[?(@.b)]", 3),
            ("$.a[(@.length-1)]", 3),
            ("$.a['b'c']", 3),
            ("$.a['b]", 3),
            ("$.a['']", 3),
            ("$.a['\\n']", 3),
            ("$.a['\n']", 3),
            ("$.a ", 3),
            ("$.a.1", 3),
            ("$.é", 1),
            ("$" + ".a" * 9, 17),
            ("$." + "a" * 199, 200),
        ],
    )
    def test_names_the_place_of_a_fault(self, text, position):
        with pytest.raises(paths.InvalidPath) as refused:
            paths.parse(text)

        assert refused.value.position == position

    @settings(max_examples=50)
    @given(
        st.lists(
            st.text(st.characters(min_codepoint=32, codec="utf-8"), min_size=1, max_size=8), min_size=1, max_size=4
        )
    )
    def test_reads_any_name_that_is_quoted(self, names):
        quoted = "".join("['{}']".format(name.replace("\\", "\\\\").replace("'", "\\'")) for name in names)

        assert paths.parse("$" + quoted) == tuple(names)
