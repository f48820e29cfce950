"""Records in, tokens out: reading, the synthetic people, the split into roles, prompt templates, tokenisation."""
