"""The seed of the catalogue: `models.yaml` turned into rows, again and again, without undoing what was edited in admin.

document       YAML with line numbers        -> sections
fields         a section's values            -> values of columns, checked by the rows' own validators
stanzas        kinds of providers            -> the provider a route means
models_file    the whole file                -> `Seed`: every row that is wanted
merge          wanted rows                   -> the database, and a report of what changed
catalogue      the above for this app's rows
export         the catalogue's rows           -> what such a file says of them; yaml_writer: its text
problems       what is wrong with a file, all of it, each with file, line, field and cure
"""
