"""How to ask a model: each provider translates to and from one vendor's wire, and decides nothing else."""
