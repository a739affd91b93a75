-- The tables that Doorbuster writes, and the one that it reads. docs/SCHEMA.md says what each answers.
--
-- Each statement may run again: a migration that was cut by a crash is run once more from its beginning. Types, the
-- collation and the syntax are those that MariaDB 10.11 and MySQL 8 have in common.

CREATE TABLE IF NOT EXISTS ship_cursor (
    one TINYINT UNSIGNED NOT NULL DEFAULT 1,
    journal_id CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    seq BIGINT UNSIGNED NOT NULL,
    hash CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    shipped_at_ms BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (one),
    CHECK (one = 1)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS activities (
    activity_id BIGINT UNSIGNED NOT NULL,
    kind VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    title VARCHAR(200) NOT NULL,
    currency CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    starts_at_ms BIGINT UNSIGNED NOT NULL,
    ends_at_ms BIGINT UNSIGNED NOT NULL,
    per_user_limit INT UNSIGNED NOT NULL,
    payment_window_ms BIGINT UNSIGNED NOT NULL,
    version BIGINT UNSIGNED NOT NULL,
    paused TINYINT UNSIGNED NOT NULL,
    closed TINYINT UNSIGNED NOT NULL,
    seq BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (activity_id),
    KEY by_seq (seq)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS activity_shards (
    shard_id INT UNSIGNED NOT NULL,
    activity_id BIGINT UNSIGNED NOT NULL,
    part SMALLINT UNSIGNED NOT NULL,
    orders_placed INT UNSIGNED NOT NULL,
    PRIMARY KEY (shard_id),
    UNIQUE KEY by_activity (activity_id, part)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS sku_stock (
    activity_id BIGINT UNSIGNED NOT NULL,
    sku_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    sku_index SMALLINT UNSIGNED NOT NULL,
    title VARCHAR(200) NOT NULL,
    price_cents BIGINT UNSIGNED NOT NULL,
    listed TINYINT UNSIGNED NOT NULL,
    stock BIGINT NOT NULL,
    available BIGINT NOT NULL,
    held BIGINT NOT NULL,
    sold BIGINT NOT NULL,
    seq BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (activity_id, sku_id),
    UNIQUE KEY by_index (activity_id, sku_index),
    KEY by_seq (seq),
    CHECK (available >= 0 AND held >= 0 AND sold >= 0),
    CHECK (stock = available + held + sold)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS orders (
    order_id BIGINT UNSIGNED NOT NULL,
    activity_id BIGINT UNSIGNED NOT NULL,
    sku_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    user_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    quantity INT UNSIGNED NOT NULL,
    amount_cents BIGINT UNSIGNED NOT NULL,
    currency CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    ref VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    idempotency_digest BINARY(16) NULL,
    held_at_ms BIGINT UNSIGNED NOT NULL,
    expires_at_ms BIGINT UNSIGNED NOT NULL,
    ended_at_ms BIGINT UNSIGNED NULL,
    placed_seq BIGINT UNSIGNED NOT NULL,
    seq BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (order_id),
    KEY by_user (user_id, activity_id),
    KEY by_seq (seq),
    CHECK (quantity > 0),
    CHECK (state IN ('held', 'paid', 'cancelled', 'expired', 'refunded')),
    CHECK (seq >= placed_seq)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS order_slots (
    order_id BIGINT UNSIGNED NOT NULL,
    slot INT UNSIGNED NOT NULL,
    activity_id BIGINT UNSIGNED NOT NULL,
    sku_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    live TINYINT UNSIGNED NULL,
    PRIMARY KEY (order_id, slot),
    UNIQUE KEY one_owner (activity_id, sku_id, slot, live),
    CHECK (live = 1)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS operator_actions (
    seq BIGINT UNSIGNED NOT NULL,
    change_id BIGINT UNSIGNED NOT NULL,
    at_ms BIGINT UNSIGNED NOT NULL,
    activity_id BIGINT UNSIGNED NOT NULL,
    actor VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    user_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    action VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    version BIGINT UNSIGNED NOT NULL,
    definition LONGTEXT NULL,
    stock LONGTEXT NULL,
    PRIMARY KEY (seq),
    KEY by_activity (activity_id, seq)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS catalog_activity (
    activity_id BIGINT UNSIGNED NOT NULL,
    definition LONGTEXT NOT NULL,
    PRIMARY KEY (activity_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
