-- Made by `make schema` from the declarations in src/hutong/schema.py.

CREATE TABLE rooms (
    room int8 NOT NULL,
    from_seq int8 NOT NULL,
    home int4 NOT NULL,
    version int2 NOT NULL,
    room_id uuid NOT NULL,
    proj bytea NOT NULL,
    PRIMARY KEY (room)
);

CREATE TABLE events (
    room int8 NOT NULL,
    seq int8 NOT NULL,
    pos int8 NOT NULL,
    sender int8 NOT NULL,
    skey int8,
    rel_seq int8,
    thread int8,
    prev_seq int8,
    redacted_by int8,
    type int8 NOT NULL,
    rel_type int8,
    home int4 NOT NULL,
    minute int4 NOT NULL,
    notes int4 NOT NULL,
    shouts int4 NOT NULL,
    value int2,
    loud int2 NOT NULL,
    event_id uuid NOT NULL,
    PRIMARY KEY (room, seq)
);
CREATE UNIQUE INDEX events_by_id ON events (event_id);
CREATE INDEX events_by_pos ON events (room, pos);
CREATE INDEX events_by_relation ON events (room, rel_seq, rel_type, seq) WHERE rel_seq IS NOT NULL;
CREATE INDEX events_by_annotator ON events (room, rel_seq, sender, seq) WHERE rel_type = 1;
CREATE INDEX events_in_threads ON events (room, seq) WHERE rel_type = 4;
CREATE INDEX events_beside_main ON events (room, seq) WHERE thread IS NOT NULL;
CREATE INDEX events_of_state ON events (room, type, skey, seq) WHERE skey IS NOT NULL;

CREATE TABLE state (
    room int8 NOT NULL,
    skey int8 NOT NULL,
    seq int8 NOT NULL,
    type int8 NOT NULL,
    PRIMARY KEY (room, type, skey)
);

CREATE TABLE members (
    room int8 NOT NULL,
    ref int8 NOT NULL,
    account int8,
    seq int8 NOT NULL,
    home int4 NOT NULL,
    membership int2 NOT NULL,
    forgotten bool NOT NULL,
    PRIMARY KEY (room, ref)
);
CREATE UNIQUE INDEX members_by_account ON members (account, room) WHERE account IS NOT NULL;

CREATE TABLE room_cells (
    room int8 NOT NULL,
    from_seq int8 NOT NULL,
    cell int4 NOT NULL,
    role int2 NOT NULL,
    PRIMARY KEY (room, cell)
);

CREATE TABLE log (
    pos int8 NOT NULL,
    room int8 NOT NULL,
    a int8 NOT NULL,
    b int8 NOT NULL,
    kind int2 NOT NULL,
    PRIMARY KEY (pos)
);

CREATE TABLE out (
    n int8 NOT NULL,
    room int8 NOT NULL,
    seq int8 NOT NULL,
    a int8 NOT NULL,
    b int8 NOT NULL,
    thread int8 NOT NULL,
    dest int4 NOT NULL,
    minute int4 NOT NULL,
    kind int2 NOT NULL,
    PRIMARY KEY (dest, n)
);

CREATE TABLE in_cursor (
    n int8 NOT NULL,
    src int4 NOT NULL,
    PRIMARY KEY (src, n)
);

CREATE TABLE voided (
    minute int4 NOT NULL,
    event_id uuid NOT NULL,
    PRIMARY KEY (event_id)
);

CREATE TABLE content (
    account int8 NOT NULL,
    room int8 NOT NULL,
    room_home int4 NOT NULL,
    state int2 NOT NULL,
    id uuid NOT NULL,
    body bytea STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (id)
);
ALTER TABLE content ALTER COLUMN body SET STATISTICS 0;
CREATE INDEX content_unsettled ON content (id) WHERE state <> 2;

CREATE TABLE leaving (
    room int8 NOT NULL,
    ref int8 NOT NULL,
    account int8 NOT NULL,
    seq int8 NOT NULL,
    ends int8 NOT NULL,
    pos int8 NOT NULL,
    minute int4 NOT NULL,
    event_id uuid NOT NULL,
    PRIMARY KEY (room, ref)
);

CREATE TABLE cuts (
    cell int4 NOT NULL,
    minute int4 NOT NULL,
    PRIMARY KEY (cell)
);

CREATE TABLE heals (
    room int8 NOT NULL,
    pos int8 NOT NULL,
    PRIMARY KEY (room)
);

CREATE TABLE txns (
    account int8 NOT NULL,
    device int8 NOT NULL,
    minute int4 NOT NULL,
    event_id uuid NOT NULL,
    txn bytea NOT NULL,
    PRIMARY KEY (account, device, txn)
);

CREATE TABLE account_data (
    account int8 NOT NULL,
    room int8 NOT NULL,
    pos int8 NOT NULL,
    id uuid NOT NULL,
    body bytea STORAGE EXTERNAL NOT NULL,
    type_key bytea NOT NULL,
    PRIMARY KEY (account, room, type_key)
);
ALTER TABLE account_data ALTER COLUMN body SET STATISTICS 0;
CREATE INDEX account_data_by_pos ON account_data (account, pos);

CREATE TABLE receipts (
    room int8 NOT NULL,
    ref int8 NOT NULL,
    thread int8 NOT NULL,
    seq int8 NOT NULL,
    pos int8 NOT NULL,
    minute int4 NOT NULL,
    rtype int2 NOT NULL,
    PRIMARY KEY (room, ref, rtype, thread)
) WITH (fillfactor = 70);

CREATE TABLE highlights (
    account int8 NOT NULL,
    room int8 NOT NULL,
    seq int8 NOT NULL,
    PRIMARY KEY (account, room, seq)
);

CREATE TABLE rev (
    gen int8 NOT NULL,
    restored_pos int8 NOT NULL,
    cell int4 NOT NULL,
    schema int4 NOT NULL,
    restored int4 NOT NULL,
    PRIMARY KEY (cell)
);

CREATE TABLE accounts (
    account int8 NOT NULL,
    since int4 NOT NULL,
    state int2 NOT NULL,
    bucket int2 NOT NULL,
    id uuid,
    password_id uuid,
    person bytea STORAGE EXTERNAL,
    password bytea STORAGE EXTERNAL,
    name_key bytea NOT NULL,
    PRIMARY KEY (account)
);
ALTER TABLE accounts ALTER COLUMN person SET STATISTICS 0;
ALTER TABLE accounts ALTER COLUMN password SET STATISTICS 0;
CREATE UNIQUE INDEX accounts_by_name ON accounts (name_key);
CREATE INDEX accounts_unfinished ON accounts (state) WHERE state IN (2, 4);

CREATE TABLE devices (
    account int8 NOT NULL,
    device int8 NOT NULL,
    seen int4 NOT NULL,
    id uuid NOT NULL,
    body bytea STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (account, device)
);
ALTER TABLE devices ALTER COLUMN body SET STATISTICS 0;

CREATE TABLE tokens (
    account int8 NOT NULL,
    expires int8,
    device int8 NOT NULL,
    gen int4 NOT NULL,
    kind int2 NOT NULL,
    token bytea NOT NULL,
    PRIMARY KEY (token)
);
CREATE INDEX tokens_by_device ON tokens (account, device);

CREATE TABLE filters (
    account int8 NOT NULL,
    id uuid NOT NULL,
    body bytea STORAGE EXTERNAL NOT NULL,
    digest bytea NOT NULL,
    PRIMARY KEY (account, digest)
);
ALTER TABLE filters ALTER COLUMN body SET STATISTICS 0;

CREATE TABLE aliases (
    home int4 NOT NULL,
    keeper int4 NOT NULL,
    version int2 NOT NULL,
    room_id uuid NOT NULL,
    id uuid,
    name_key bytea NOT NULL,
    PRIMARY KEY (name_key)
);

CREATE TABLE alias_words (
    account int8 NOT NULL,
    state int2 NOT NULL,
    id uuid NOT NULL,
    room_id uuid NOT NULL,
    body bytea STORAGE EXTERNAL NOT NULL,
    name_key bytea NOT NULL,
    PRIMARY KEY (id)
);
ALTER TABLE alias_words ALTER COLUMN body SET STATISTICS 0;
CREATE INDEX alias_words_of_room ON alias_words (room_id);
CREATE INDEX alias_words_of_account ON alias_words (account);
CREATE INDEX alias_words_pending ON alias_words (id) WHERE state = 1;

CREATE TABLE published (
    room int8 NOT NULL,
    PRIMARY KEY (room)
);

CREATE TABLE device_keys (
    account int8 NOT NULL,
    device int8 NOT NULL,
    id uuid NOT NULL,
    body bytea STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (account, device)
);
ALTER TABLE device_keys ALTER COLUMN body SET STATISTICS 0;

CREATE TABLE one_time_keys (
    account int8 NOT NULL,
    upload int8 NOT NULL,
    device int8 NOT NULL,
    id uuid NOT NULL,
    body bytea STORAGE EXTERNAL,
    algorithm bytea NOT NULL,
    key bytea NOT NULL,
    PRIMARY KEY (account, device, key)
);
ALTER TABLE one_time_keys ALTER COLUMN body SET STATISTICS 0;

CREATE TABLE fallback_keys (
    account int8 NOT NULL,
    device int8 NOT NULL,
    used bool NOT NULL,
    id uuid NOT NULL,
    body bytea STORAGE EXTERNAL NOT NULL,
    algorithm bytea NOT NULL,
    PRIMARY KEY (account, device, algorithm)
);
ALTER TABLE fallback_keys ALTER COLUMN body SET STATISTICS 0;

CREATE TABLE cross_signing_keys (
    account int8 NOT NULL,
    usage int2 NOT NULL,
    id uuid NOT NULL,
    body bytea STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (account, usage)
);
ALTER TABLE cross_signing_keys ALTER COLUMN body SET STATISTICS 0;

CREATE TABLE key_signatures (
    account int8 NOT NULL,
    id uuid NOT NULL,
    body bytea STORAGE EXTERNAL NOT NULL,
    target bytea NOT NULL,
    about bytea NOT NULL,
    PRIMARY KEY (account, target)
);
ALTER TABLE key_signatures ALTER COLUMN body SET STATISTICS 0;

CREATE TABLE key_changes (
    account int8 NOT NULL,
    minute int4 NOT NULL,
    PRIMARY KEY (account)
);
