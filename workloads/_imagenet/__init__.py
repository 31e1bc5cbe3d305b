"""ImageNet and its small twin, whose images this project draws."""
