"""A page that shows what a recurrent network does while it reads: one HTML file, without a server or a network."""

from gatewright.look.page import Page, page

__all__ = ["Page", "page"]
