"""What people look at: overlays, plots, the picker and the viewer."""
