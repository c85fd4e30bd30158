-- A study decides what to run next; each decision is recorded before it is acted on, and what it changed after it.
create table studies (
  study text primary key,
  -- Its file as it was.
  spec text not null,
  -- Sizes, budgets and grids, JSON: fixed before the first run.
  frame text not null,
  planned_at text not null
) without rowid;

create table decisions (
  study text not null references studies (study),
  n integer not null,
  question text not null,
  what text not null,
  why text not null,
  -- The sweep that it runs; none: it runs nothing.
  sweep text,
  -- The file of that sweep.
  spec text,
  -- What it had to train, as it was planned.
  trials integer not null,
  tokens integer not null,
  flops real not null,
  seconds real not null,
  decided_at text not null,
  -- What it changed; none: it is not done.
  outcome text,
  ended_at text,
  primary key (study, n)
) without rowid;
