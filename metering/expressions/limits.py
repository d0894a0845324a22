"""What an expression and its evaluation may take of space and time. Each is stated in docs/EXPRESSIONS.md."""

SOURCE_CHARS_MAX = 10_000
NODES_MAX = 2_000  # names, literals, operators, calls and brackets of one expression
NESTING_MAX = 40  # brackets within brackets
DEPTH_MAX = 100  # of the tree, where operators of one precedence in a row count too

STEPS_MAX = 100_000  # see Meter; a formula without macros and lists takes none
CHARS_PER_STEP = 16
STRING_CHARS_MAX = 10_000  # of a string that an expression makes; what the event brings may be longer
ITEMS_MAX = 10_000  # of a list that + makes
VALUE_DEPTH_MAX = 32  # lists within lists, where they are compared

DIGITS_MAX = 80  # of a number; as many as money is reckoned with
WHOLE_DIGITS_MAX = 40
DECIMALS_MAX = 80
NUMBER_CHARS_MAX = 130  # of a number that is written out
PLACES_MAX = 18  # that round() rounds to, on either side of the point
