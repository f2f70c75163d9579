#!/bin/sh
# Run once by the postgres image when its data folder is new.
exec psql -v ON_ERROR_STOP=1 -v password="'$(cat /run/secrets/assets-password)'" -U postgres -d assets -f /registry.sql
