"""X-ray-like images and masks from volumes.

- rays: parallel rays through a volume, for sums along them and for the masks of its labels
- radiograph: how an image is formed from what the rays met
"""
