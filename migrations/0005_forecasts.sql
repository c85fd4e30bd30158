-- A forecast is frozen with its hash before the run that it is about; scores come later and never change it.
create table forecasts (
  forecast text primary key,
  registered_at text not null,
  recipe text not null,
  -- blake3 of the body as it stands here.
  hash text not null,
  body text not null
) without rowid;

create table scores (
  forecast text not null references forecasts (forecast),
  scored_at text not null,
  body text not null,
  primary key (forecast, scored_at)
) without rowid;
