"""rojak_ray."""
