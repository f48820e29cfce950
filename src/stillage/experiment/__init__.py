"""An experiment: its models, the stages that a config asks for, and running them."""
