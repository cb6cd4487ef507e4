-- Whose make a device is; NULL: ours.
ALTER TABLE device ADD COLUMN make TEXT;
