"""Working programs that sell through Farthing, to read and to copy from."""
