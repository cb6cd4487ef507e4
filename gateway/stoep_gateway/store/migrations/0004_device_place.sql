-- Where a device was mounted (WGS 84, degrees), as was said when it was placed.
ALTER TABLE device ADD COLUMN lat REAL;
ALTER TABLE device ADD COLUMN lon REAL;
