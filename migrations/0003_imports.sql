-- Runs of others, as they were told: what is not known is null.
create table imports (
  import text primary key,
  source text not null,
  source_hash text not null,
  imported_at text not null
) without rowid;

create table imported_runs (
  import text not null references imports (import),
  position integer not null,
  label text not null,
  params real not null,
  tokens real not null,
  loss real not null,
  lr real,
  batch_tokens real,
  schedule text,
  seed integer,
  flops real,
  primary key (import, position)
) without rowid;

create view v_imported as
select r.import, i.source, r.label, 'imported' as trainer, r.params, r.tokens, r.loss as final_loss, r.lr, r.batch_tokens,
  r.schedule, r.seed, r.flops
from imported_runs r join imports i using (import);
