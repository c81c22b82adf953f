-- Sends the requests of a file in their order, around and around: `wrk -s wrk.lua URL -- FILE FIRST`.
-- Each line: method, path, token, entity tag (may be empty) and body (may be empty), parted by tabs. `#` in a
-- body becomes a time of the day that no request before it had. Prints one line of JSON at the end.

local MARK, WIDTH = "#", 12
local requests, at, sent = {}, 0, 0
local threads = {}
statuses = {}

function setup(thread)
  threads[#threads + 1] = thread
end

function init(args)
  for line in io.lines(args[1]) do
    local method, path, token, tag, body = line:match("^(.-)\t(.-)\t(.-)\t(.-)\t(.*)$")
    local headers = { Authorization = "Bearer " .. token }
    if tag ~= "" then headers["If-None-Match"] = tag end
    if body ~= "" then headers["Content-Type"] = "application/json" end
    local whole = wrk.format(method, path, headers, body ~= "" and body:gsub(MARK, ("~"):rep(WIDTH)) or nil)
    local from, to = whole:find(("~"):rep(WIDTH), 1, true)
    requests[#requests + 1] = from and { whole:sub(1, from - 1), whole:sub(to + 1) } or whole
  end
  at = tonumber(args[2]) % #requests
  sent = tonumber(args[2])
end

local function moment(number)
  local seconds = math.floor(number / 1000)
  return ("%02d:%02d:%02d.%03d"):format(seconds / 3600 % 24, seconds / 60 % 60, seconds % 60, number % 1000)
end

function request()
  at = at % #requests + 1
  local found = requests[at]
  if type(found) == "string" then return found end
  sent = sent + 1
  return found[1] .. moment(sent) .. found[2]
end

function response(status)
  statuses[status] = (statuses[status] or 0) + 1
end

function done(summary, latency)
  local counted = {}
  for _, thread in ipairs(threads) do
    for status, number in pairs(thread:get("statuses")) do
      counted[#counted + 1] = ('"%d": %d'):format(status, number)
    end
  end
  local errors = summary.errors
  io.write(("JSON {\"requests\": %d, \"microseconds\": %d, \"p50\": %d, \"p99\": %d, \"max\": %d, \"broken\": %d, \"timeouts\": %d, \"statuses\": {%s}}\n"):format(
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    errors.connect + errors.read + errors.write, errors.timeout, table.concat(counted, ", ")))
end
