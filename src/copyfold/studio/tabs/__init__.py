"""The tabs of the page, one file each, with a function `tab(studio)` that draws it."""
