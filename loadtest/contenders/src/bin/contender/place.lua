-- Limit a user, deduct, record: all or nothing, since Redis runs a script alone.
-- KEYS: the SKU's free units, the users' units, the orders. ARGV: user, quantity, limit, SKU, cents, held, expires, ref.
-- Losers are the many: they cost one read, and change nothing that would have to be written to the log.
local quantity = tonumber(ARGV[2])
if tonumber(redis.call('GET', KEYS[1]) or 0) < quantity then
  return -1
end
if redis.call('HINCRBY', KEYS[2], ARGV[1], quantity) > tonumber(ARGV[3]) then
  redis.call('HINCRBY', KEYS[2], ARGV[1], -quantity)
  return -2
end
redis.call('DECRBY', KEYS[1], quantity)
return redis.call('XADD', KEYS[3], '*', 'user', ARGV[1], 'quantity', quantity, 'sku', ARGV[4],
  'amount_cents', ARGV[5], 'held_at_ms', ARGV[6], 'expires_at_ms', ARGV[7], 'ref', ARGV[8])
