-- What forecasts have learned: of each container ("container/ID"), and of each kind ("kind/NAME").
CREATE TABLE forecast (
    about TEXT NOT NULL PRIMARY KEY,
    learned TEXT NOT NULL                   -- JSON
) WITHOUT ROWID;
