-- What wrk sends: an order of the next user each, by requests of which only the token differs. The last argument is every
-- how many orders one is for what is still there; the others are for what is gone.
local tokens, sent, head, tail, gone, one_in = {}, 0, nil, nil, nil, 0
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  for line in io.lines(args[1]) do
    tokens[#tokens + 1] = line
  end
  local read = function(name)
    local file = assert(io.open(name, 'rb'))
    local text = file:read('*a')
    file:close()
    return text
  end
  head, tail, gone = read(args[2]), read(args[3]), read(args[4])
  one_in = tonumber(args[5])
  io.stdout:write('ready\n')
  io.stdout:flush()
end

function request()
  sent = sent + 1
  missing = math.max(0, sent - #tokens)
  local token = tokens[sent] or tokens[1]
  if one_in > 0 and sent % one_in == 0 then
    return head .. token .. tail
  end
  return head .. token .. gone
end

function done(summary, latency, requests)
  local missing = 0
  for _, thread in ipairs(threads) do
    missing = missing + (thread:get('missing') or 0)
  end
  local errors = summary.errors
  io.stdout:write(string.format(
    'result {"requests":%d,"duration_us":%d,"refused":%d,"broken":%d,"missing":%d,"p50_us":%d,"p99_us":%d,"max_us":%d}\n',
    summary.requests, summary.duration, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    missing, latency:percentile(50), latency:percentile(99), latency.max))
end
