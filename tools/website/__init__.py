"""The documentation as a web site: docs/ in the order of `navigation`, built by Zensical and mkdocstrings.

python -m tools.website    build the site in site/
"""
