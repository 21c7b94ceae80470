"""Sessions under load while what they run on is killed; a checker then audits every message and every side effect."""
