-- The log is the truth: every other table but `points`, `fits` and `recipes` can be dropped and replayed from it.
create table events (
  seq integer primary key,
  at text not null,
  kind text not null,
  subject text not null,
  body text not null
);

create table sweeps (
  sweep text primary key,
  description text,
  target_params integer,
  spec text not null,
  planned_at text not null
) without rowid;

create table stages (
  stage text primary key,
  parent text references stages (stage),
  lineage text not null,
  kind text not null check (kind in ('trunk', 'decay', 'whole')),
  config text not null,
  trainer text not null,
  from_steps integer not null,
  to_steps integer not null check (to_steps > from_steps),
  batch_tokens integer not null,
  flops_per_token real not null,
  state text not null default 'pending' check (state in ('pending', 'running', 'complete', 'diverged', 'failed')),
  attempts integer not null default 0,
  diverged_step integer,
  cause text,
  seconds real,
  checkpoint text,
  checkpoint_hash text,
  device text,
  libtorch text,
  code_version text,
  finished_at text
) without rowid;
create index stages_by_lineage on stages (lineage);

create table attempts (
  stage text not null references stages (stage),
  attempt integer not null,
  state text not null check (state in ('running', 'complete', 'diverged', 'faulted')),
  folder text not null,
  started_at text not null,
  ended_at text,
  pid integer,
  host text,
  device text,
  worker integer,
  steps integer not null default 0,
  seconds real,
  peak_bytes integer,
  cause text,
  message text,
  primary key (stage, attempt)
) without rowid;

create table trials (
  sweep text not null references sweeps (sweep),
  trial text not null,
  position integer not null,
  -- 0: an earlier version of the sweep asked for it, the newest does not.
  asked integer not null,
  cancelled integer not null default 0,
  slug text not null,
  leaf text not null references stages (stage),
  trainer text not null,
  model text not null,
  params_non_embedding integer not null,
  params_total integer not null,
  width integer not null,
  layers integer not null,
  heads integer not null,
  vocab integer not null,
  context integer not null,
  parametrization text not null,
  lr real not null,
  batch_tokens integer not null,
  schedule text not null,
  warmup_tokens integer not null,
  decay_fraction real,
  tokens integer not null,
  steps integer not null,
  seed integer not null,
  flops real not null,
  flops_per_token real not null,
  -- 1: the schedule ends with the run, so its loss may enter a law of final loss.
  decayed integer not null,
  held_out text not null,
  numerics text not null,
  code_epoch integer not null,
  data_hash text not null,
  config_hash text not null,
  axes text not null,
  settings text not null,
  primary key (sweep, trial)
) without rowid;
create index trials_by_name on trials (trial);

create table trial_stages (
  sweep text not null,
  trial text not null,
  position integer not null,
  stage text not null references stages (stage),
  primary key (sweep, trial, position),
  foreign key (sweep, trial) references trials (sweep, trial)
) without rowid;
create index trial_stages_by_stage on trial_stages (stage);

create table points (
  stage text not null references stages (stage),
  step integer not null,
  split text not null,
  loss real not null,
  lr real,
  grad_norm real,
  bits_per_byte real,
  primary key (stage, step, split)
) without rowid;

create table fits (
  fit text primary key,
  made_at text not null,
  sweep text,
  law text not null,
  body text not null
) without rowid;

create table recipes (
  recipe text primary key,
  made_at text not null,
  sweep text,
  body text not null
) without rowid;

create view v_trials as
select
  t.trial, t.sweep, t.slug,
  case
    when t.cancelled = 1 then 'cancelled'
    when leaf.state = 'complete' then 'complete'
    when exists (select 1 from trial_stages p join stages s using (stage)
                 where p.sweep = t.sweep and p.trial = t.trial and s.state = 'diverged') then 'diverged'
    when exists (select 1 from trial_stages p join stages s using (stage)
                 where p.sweep = t.sweep and p.trial = t.trial and s.state = 'failed') then 'failed'
    when exists (select 1 from trial_stages p join stages s using (stage)
                 where p.sweep = t.sweep and p.trial = t.trial and s.state = 'running') then 'running'
    else 'pending'
  end as state,
  t.trainer, t.model, t.params_non_embedding, t.params_total, t.width, t.layers, t.heads, t.vocab, t.context,
  t.parametrization, t.lr, t.batch_tokens, t.schedule, t.warmup_tokens, t.decay_fraction, t.tokens, t.steps, t.seed,
  t.flops,
  case when t.decayed = 1 and leaf.state = 'complete' then e.loss end as final_loss,
  case when t.decayed = 1 and leaf.state = 'complete' then e.bits_per_byte end as bits_per_byte,
  case when leaf.state <> 'complete' then (
    select min(s.diverged_step) * t.batch_tokens from trial_stages p join stages s using (stage)
    where p.sweep = t.sweep and p.trial = t.trial and s.state = 'diverged') end as diverged_at_tokens,
  leaf.device as device, t.numerics, t.code_epoch, leaf.code_version as code_version, t.data_hash, t.config_hash,
  case when leaf.state = 'complete' then (
    select sum(s.seconds) from trial_stages p join stages s using (stage)
    where p.sweep = t.sweep and p.trial = t.trial) end as seconds,
  t.axes, t.position
from trials t
join stages leaf on leaf.stage = t.leaf
left join points e on e.stage = t.leaf and e.step = t.steps and e.split = t.held_out
where t.asked = 1;

create view v_points as
select
  t.trial, p.stage, p.step, p.step * t.batch_tokens as tokens, p.step * t.batch_tokens * t.flops_per_token as flops,
  p.lr, p.split, p.loss, p.grad_norm
from (select trial, min(sweep) as sweep from trials where asked = 1 group by trial) one
join trials t on t.sweep = one.sweep and t.trial = one.trial
join trial_stages ts on ts.sweep = t.sweep and ts.trial = t.trial
join points p on p.stage = ts.stage;

create view v_stages as
select
  s.stage, s.parent, s.kind, s.from_steps * s.batch_tokens as from_tokens, s.to_steps * s.batch_tokens as to_tokens,
  s.state, s.attempts,
  coalesce((select sum(a.steps) from attempts a where a.stage = s.stage), 0) * s.batch_tokens as tokens_trained,
  s.seconds,
  (select count(distinct ts.trial) from trial_stages ts join trials t on t.sweep = ts.sweep and t.trial = ts.trial
   where ts.stage = s.stage and t.asked = 1) as trials
from stages s;

create view v_final_loss as
select distinct t.trial, p.split, p.loss, p.bits_per_byte
from trials t
join stages leaf on leaf.stage = t.leaf and leaf.state = 'complete'
join points p on p.stage = t.leaf and p.step = t.steps and p.split <> 'train'
where t.asked = 1 and t.decayed = 1;

create view v_best_lr as
select sweep, model, tokens, lr, min(final_loss) as final_loss
from v_trials
where final_loss is not null
group by sweep, model, tokens;
