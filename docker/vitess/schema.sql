-- Tables of the source, with enough rows to watch them being copied. Repeating it changes nothing.
CREATE TABLE IF NOT EXISTS customer (
  customer_id BIGINT NOT NULL PRIMARY KEY,
  email VARBINARY(128)
);
CREATE TABLE IF NOT EXISTS corder (
  order_id BIGINT NOT NULL PRIMARY KEY,
  customer_id BIGINT NOT NULL,
  price BIGINT
);
SET SESSION cte_max_recursion_depth = 1000000;
INSERT IGNORE INTO customer
  WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
  SELECT i, CONCAT('user', i, '@example.com') FROM n;
INSERT IGNORE INTO corder
  WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000)
  SELECT i, 1 + i % 100000, i % 977 FROM n;
