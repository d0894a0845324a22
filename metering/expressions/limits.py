"""What an expression and its evaluation may take of space and time. Each is stated in docs/EXPRESSIONS.md."""

SOURCE_CHARS_MAX = 10_000
NODES_MAX = 2_000  # names, literals, operators, calls and brackets of one expression
NESTING_MAX = 40  # brackets within brackets
DEPTH_MAX = 100  # of the tree, where operators of one precedence in a row count too

# A step is one part of a macro's body for one item, or one item that is compared, added or joined; all of them together
# take some milliseconds. A formula without lists takes none: its source already bounds what it can cost.
STEPS_MAX = 10_000
# Where events are recorded, of all metrics that read one together, and of all formulas that price one together: a batch
# of 1,000 that all take them is some half a second.
STEPS_PER_EVENT_MAX = 1_000
SOURCE_CHARS_PER_STEP = 25  # of an expression that shares its steps: without lists it takes no others
CHARS_PER_STEP = 16  # of strings that are searched, joined or changed
STRING_CHARS_MAX = 10_000  # of a string that an expression makes; what the event brings may be longer
VALUE_DEPTH_MAX = 32  # lists within lists, where they are compared

DIGITS_MAX = 80  # of a number; as many as money is reckoned with
WHOLE_DIGITS_MAX = 40
DECIMALS_MAX = 80
NUMBER_CHARS_MAX = 130  # of a number that is written out
PLACES_MAX = 18  # that round() rounds to, on either side of the point
