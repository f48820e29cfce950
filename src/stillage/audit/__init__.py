"""What a model betrays: membership, extraction, and whether the claim may be printed."""
