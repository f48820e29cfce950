"""Records in, tokens out: reading, made-up people, split, layouts, tokenisation."""
