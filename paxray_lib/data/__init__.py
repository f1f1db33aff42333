"""``paxray.json`` and what is in it: samples, augmentation, packing, fetching."""
