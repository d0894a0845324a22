"""What pages show, in as few queries as a page needs whatever its length."""
