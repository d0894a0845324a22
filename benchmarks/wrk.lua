-- The workloads of workloads.py for wrk: wrk -s wrk.lua <url> -- <usage|batch|pairs> <facts> <nonce>
-- The file of facts has one a line: secret, merchant, metric, then customers.

local BATCH_EVENTS = 1000

local threads = {}
local reserved, first, last = {}, 1, 0 -- reservations waiting for their capture

done_count, refused_count, last_refusal = 0, 0, ""

function setup(thread)
   table.insert(threads, thread)
   thread:set("number", #threads)
end

local function post(path, body)
   return head_of[path] .. #body .. "\r\n\r\n" .. body
end

local function key()
   made = made + 1
   return nonce .. "-" .. number .. "-" .. made
end

local function event(customer, more)
   if made % 64 == 0 then
      timestamp = os.date("!%Y-%m-%dT%H:%M:%SZ")
   end
   return '{"idempotencyKey":"' .. key() .. '","customerId":"' .. customer .. '"' .. event_middle .. timestamp .. event_end .. more .. "}"
end

local function customer()
   return customers[math.random(#customers)]
end

local function usage()
   return post("/v0/usage", event(customer(), ""))
end

local function batch()
   local events = {}
   for place = 1, BATCH_EVENTS do
      events[place] = event(customer(), "")
   end
   return post("/v0/usage/batch", '{"events":[' .. table.concat(events, ",") .. "]}")
end

-- wrk does not tell which connection asks; as every reservation is followed by one capture, all stay half and half.
local function pair()
   if first <= last then
      local reservation = reserved[first]
      reserved[first] = nil
      first = first + 1
      return post("/v0/usage", event(reservation.customer, ',"entitlementId":"' .. reservation.id .. '"'))
   end
   return post("/v0/entitlements", reserve_start .. customer() .. reserve_end)
end

local function note_pair(status, headers, body)
   if status ~= 201 then
      refused_count = refused_count + 1
      last_refusal = status .. " " .. body:sub(1, 300)
   elseif body:find('"id":"com_', 1, true) then
      last = last + 1
      reserved[last] = { id = body:match('"id":"(com_%w+)"'), customer = body:match('"customerId":"(cus_%w+)"') }
   else
      done_count = done_count + 1
   end
end

local function note_refusal(status, headers, body)
   if status == 201 then
      done_count = done_count + 1
   else
      refused_count = refused_count + 1
      last_refusal = status .. " " .. body:sub(1, 300)
   end
end

function init(args)
   local kind, facts
   kind, facts, nonce = args[1], args[2], args[3]
   local lines = {}
   for line in io.lines(facts) do
      table.insert(lines, line)
   end
   local secret, merchant, metric = lines[1], lines[2], lines[3]
   customers = { unpack(lines, 4) }
   made = 0
   math.randomseed(number * 7919 + tonumber(nonce, 16) % 1000003)
   head_of = {}
   for _, path in ipairs({ "/v0/usage", "/v0/usage/batch", "/v0/entitlements" }) do
      head_of[path] = "POST " .. path .. " HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port .. "\r\nAuthorization: Bearer "
         .. secret .. "\r\nContent-Type: application/json\r\nContent-Length: "
   end
   event_middle = ',"merchantId":"' .. merchant .. '","timestamp":"'
   event_end = '","properties":[{"billableMetricId":"' .. metric .. '","quantity":1}]'
   reserve_start = '{"merchantId":"' .. merchant .. '","customerId":"'
   reserve_end = '","entitlementData":[{"billableMetricId":"' .. metric .. '","quantity":1}]}'
   request = ({ usage = usage, batch = batch, pairs = pair })[kind]
   -- Without a response function wrk does not take answers apart, and leaves more of the cores to the server.
   response = ({ batch = note_refusal, pairs = note_pair })[kind]
end

function done(summary, latency, requests)
   local achieved, refused, refusal = 0, 0, ""
   for _, thread in ipairs(threads) do
      achieved = achieved + thread:get("done_count")
      refused = refused + thread:get("refused_count")
      refusal = thread:get("last_refusal") ~= "" and thread:get("last_refusal") or refusal
   end
   local errors = summary.errors
   if achieved + refused == 0 then
      achieved, refused = summary.requests - errors.status, errors.status
      refusal = refused > 0 and "answers other than 2xx" or ""
   end
   local broken = errors.connect + errors.read + errors.write + errors.timeout
   io.write(string.format("RESULT %d %d %d %d %d %d\n", achieved, refused, broken, summary.duration,
      latency:percentile(50), latency:percentile(99)))
   io.write("REFUSAL " .. refusal:gsub("%s+", " ") .. "\n")
end
