-- Writes nothing, but its connection is one that a restore has to get rid of.
SELECT 1
\watch 1
