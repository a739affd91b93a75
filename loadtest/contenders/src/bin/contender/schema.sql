CREATE TABLE stocks (
    activity_id BIGINT UNSIGNED NOT NULL,
    sku_id VARCHAR(64) CHARACTER SET ascii NOT NULL,
    stock INT UNSIGNED NOT NULL,
    PRIMARY KEY (activity_id, sku_id)
) ENGINE = InnoDB;

CREATE TABLE orders (
    order_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    activity_id BIGINT UNSIGNED NOT NULL,
    user_id BIGINT UNSIGNED NOT NULL,
    sku_id VARCHAR(64) CHARACTER SET ascii NOT NULL,
    quantity INT UNSIGNED NOT NULL,
    amount_cents BIGINT UNSIGNED NOT NULL,
    held_at_ms BIGINT UNSIGNED NOT NULL,
    expires_at_ms BIGINT UNSIGNED NOT NULL,
    ref VARCHAR(64) CHARACTER SET ascii,
    UNIQUE KEY one_a_user (activity_id, user_id)
) ENGINE = InnoDB;

-- The whole transaction is one round trip. Losers are told by a read that locks nothing. The order comes before the
-- stock: the one row that all contend for is then locked from its update to the commit, and no round trip is between.
CREATE PROCEDURE place(IN an_activity BIGINT UNSIGNED, IN a_user BIGINT UNSIGNED, IN a_sku VARCHAR(64) CHARACTER SET ascii,
    IN units INT UNSIGNED, IN cents BIGINT UNSIGNED, IN held BIGINT UNSIGNED, IN expires BIGINT UNSIGNED,
    IN a_ref VARCHAR(64) CHARACTER SET ascii)
place: BEGIN
    DECLARE id BIGINT;
    DECLARE EXIT HANDLER FOR 1062
    BEGIN
        ROLLBACK;
        SELECT CAST(-2 AS SIGNED) AS id;
    END;
    IF NOT EXISTS (SELECT 1 FROM stocks WHERE activity_id = an_activity AND sku_id = a_sku AND stock >= units) THEN
        SELECT CAST(-1 AS SIGNED) AS id;
        LEAVE place;
    END IF;
    START TRANSACTION;
    INSERT INTO orders (activity_id, user_id, sku_id, quantity, amount_cents, held_at_ms, expires_at_ms, ref)
        VALUES (an_activity, a_user, a_sku, units, cents, held, expires, a_ref);
    SET id = LAST_INSERT_ID();
    UPDATE stocks SET stock = stock - units WHERE activity_id = an_activity AND sku_id = a_sku AND stock >= units;
    IF ROW_COUNT() = 1 THEN
        COMMIT;
    ELSE
        ROLLBACK;
        SET id = -1;
    END IF;
    SELECT id;
END
