"""`/sync`: what changed for a device since it last asked, now or as soon as something does."""
