"""Finished cases that are shipped: what Home shows at once, and the pages open without computing."""
