"""Files of solutions and ensembles."""
