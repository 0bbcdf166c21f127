-- Facts are append-only: no UPDATE, no DELETE, no primary key, no index. Times are epoch seconds, UTC.
-- The tables of the summaries (ratio, histogram, confusion, moments, each in three tiers) are made by tables.py.

CREATE TABLE meta (key VARCHAR, value VARCHAR);

-- One row per committed batch; the id grows by one.
CREATE TABLE load (load_id BIGINT, batch VARCHAR, source INTEGER, committed BIGINT, pages INTEGER, rows BIGINT);
-- From that load on a coarse tier (3600, 86400) holds all that lies before `until`; what lies after is read from a
-- finer one. So a source that is polled every five minutes gives an hour one row, not twelve.
CREATE TABLE closed (tier INTEGER, until BIGINT, load_id BIGINT);

-- A source is its connector and scope, not its name.
CREATE TABLE source (id INTEGER, connector VARCHAR, scope VARCHAR);

CREATE TABLE layout (id INTEGER, spec VARCHAR);
-- The place of a category in its layout never changes.
CREATE TABLE category (layout INTEGER, bin INTEGER, value VARCHAR);
-- The layout in force of a component's feature, with its reference histogram; the newest row counts.
CREATE TABLE baseline (component VARCHAR, signal VARCHAR, name VARCHAR, layout INTEGER, since BIGINT, until BIGINT,
                       bins INTEGER[], counts BIGINT[], sums HUGEINT[], load_id BIGINT, squares HUGEINT);
-- The first values of a segment's columns; all later ones are "other".
CREATE TABLE margin (component VARCHAR, columns VARCHAR, segment VARCHAR);

-- `base` is the same for all layouts of a series.
CREATE TABLE series (id INTEGER, base INTEGER, component VARCHAR, signal VARCHAR, name VARCHAR, version VARCHAR,
                     segment VARCHAR, environment VARCHAR, stage VARCHAR, source INTEGER, layout INTEGER,
                     width INTEGER);

CREATE TABLE slice (id INTEGER, source INTEGER, name VARCHAR);
CREATE TABLE slice_load (slice INTEGER, digest VARCHAR, load_id BIGINT);

-- Values are text so that the shortest exact form is kept; '' where the source took a sample back.
CREATE TABLE sample (series INTEGER, ts BIGINT, micros INTEGER, run VARCHAR, step BIGINT, value VARCHAR, load_id BIGINT);

-- One row per revision of a (source, kind, key, attempt); content is '' where the source took it back.
CREATE TABLE event (source INTEGER, kind VARCHAR, key VARCHAR, attempt INTEGER, revision BIGINT, ts BIGINT,
                    until BIGINT, components VARCHAR[], environment VARCHAR, outcome VARCHAR, content VARCHAR,
                    load_id BIGINT);

CREATE TABLE coverage (source INTEGER, component VARCHAR, signal VARCHAR, since BIGINT, until BIGINT, load_id BIGINT);
CREATE TABLE gap (source INTEGER, component VARCHAR, signal VARCHAR, since BIGINT, until BIGINT, reason VARCHAR,
                  load_id BIGINT);
CREATE TABLE state (source INTEGER, state VARCHAR, items VARCHAR, settings VARCHAR, watermark BIGINT, load_id BIGINT);

CREATE TABLE pull (source INTEGER, name VARCHAR, started BIGINT, ended BIGINT, outcome VARCHAR, said VARCHAR,
                   pages INTEGER, rows BIGINT, load_id BIGINT);
-- What was not counted, or counted with a remark; `kind` is reject, remark or unmatched.
CREATE TABLE reject (source INTEGER, pull BIGINT, kind VARCHAR, reason VARCHAR, place VARCHAR, n BIGINT);

-- What people keep beside the numbers: saved answers, moments, reviews. One row per revision, the newest counts;
-- content is JSON, '' where it was deleted. `load_id` is the load that was shown when it was kept.
CREATE TABLE kept (kind VARCHAR, id VARCHAR, made BIGINT, author VARCHAR, content VARCHAR, load_id BIGINT);
