"""What readings mean: fill, forecast, occupancy. Pure."""
