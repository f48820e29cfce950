"""An experiment: which models it has, which stages a config asks for, and running them."""
