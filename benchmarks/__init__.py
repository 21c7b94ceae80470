"""What we promise about speed, measured as ratios against a floor in the same run."""
