"""The study's database: tables, one way to run a transaction, versions, backups, deletion."""
