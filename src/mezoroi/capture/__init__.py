"""From a rotation video or frames to the surface image and the outline."""
