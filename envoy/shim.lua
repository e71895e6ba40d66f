-- The only script in Envoy. It marks REST calls for the server and applies the server's word on status and body; it
-- knows no dialect. It stands BEFORE the transcoder in the filter list, so on the way back it runs AFTER it.
--
-- A route's filter_context names its dialect; `json_type` is the content type of its JSON answers, and `keyless` says that
-- the server judges callers without a key by how they call.
--
-- The server's words, as metadata: x-http-status, x-http-type, x-http-body (printable ASCII), x-http-unwrap.
-- A header object is dead once body() was called: set headers first, or fetch h:headers() again.

local DROP = {
  "x-http-status", "x-http-type", "x-http-body", "x-http-unwrap",
  "grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-accept-encoding", "grpc-encoding",
}

function envoy_on_request(h)
  local headers = h:headers()
  headers:remove("x-dialect") -- a caller's own value would make the server answer in another shape
  headers:remove("x-envoy-original-method") -- or the access log would show them
  headers:remove("x-envoy-original-path")
  local context = h:filterContext()
  local dialect = context:get("dialect")
  if dialect then
    headers:add("x-dialect", dialect)
    if headers:get(":method") == "GET" then -- a read may be tried again whatever became of it
      headers:replace("x-envoy-retry-on", "connect-failure,refused-stream,reset")
      headers:replace("x-envoy-retry-grpc-on", "unavailable")
    end
  end
  if context:get("keyless") then -- the transcoder writes over the one, and gRPC does not show the other
    headers:replace("x-keyless-host", headers:get(":authority") or "")
    local length = headers:get("content-length")
    local has_body = headers:get("transfer-encoding") or (length and length ~= "0")
    headers:replace("x-keyless-type", headers:get("content-type") or (has_body and "none" or ""))
  end
  local id = headers:get("x-request-id") -- a caller's id is kept, but nothing that could disturb a log
  if id and (#id > 128 or string.find(id, "[^%w%._-]")) then
    headers:replace("x-request-id", string.sub(string.gsub(id, "[^%w%._-]", "_"), 1, 128))
  end
end

local function apply(headers, status, content_type)
  if status then headers:replace(":status", status) end
  if content_type then headers:replace("content-type", content_type) end
  if status == "204" then
    headers:remove("content-type")
    headers:remove("content-length")
  end
  for i = 1, #DROP do headers:remove(DROP[i]) end
end

-- The body is in the answer's first headers: an error before anything was sent, or an empty 204.
local function from_headers(h, headers, status, body)
  apply(headers, status, body and (headers:get("x-http-type") or "application/json"))
  h:body(true):setBytes(body or "")
  if status == "204" then h:headers():remove("content-length") end
end

-- Envoy's own sentences, as they stand in a JSON body, without the names of our messages and types.
local function plain(text)
  text = string.gsub(text, ' in the type \\"[%w_%.]+\\"', "")
  text = string.gsub(text, " for type TYPE_[%u%d_]+", "")
  return (string.gsub(text, "malformed: : ", "malformed: "))
end

-- An error after the server had sent metadata: its words are in the trailers. Without words the transcoder's own
-- rendering of the gRPC status stands.
local function from_trailers(h)
  h:body(true)
  local trailers = h:trailers()
  local headers = h:headers()
  local body = trailers and trailers:get("x-http-body")
  local retry_after = trailers and trailers:get("retry-after")
  if retry_after then headers:replace("retry-after", retry_after) end
  if body then
    apply(headers, trailers:get("x-http-status"), trailers:get("x-http-type") or "application/json")
    h:body(true):setBytes(body)
  else
    apply(headers)
    body = h:body(true)
    local text = body:getBytes(0, body:length())
    local clean = plain(text)
    if clean ~= text then body:setBytes(clean) end
  end
end

-- {"items":[...]} becomes [...], for documented top-level arrays.
local function unwrap(h)
  local body = h:body(true)
  local inner = string.match(body:getBytes(0, body:length()), '^{"[%w_]+":(.*)}%s*$')
  if inner then body:setBytes(inner) end
end

function envoy_on_response(h)
  local headers = h:headers()
  local content_type = headers:get("content-type")
  if content_type and string.sub(content_type, 1, 16) == "application/grpc" then return end -- gRPC and gRPC-Web
  local status, body = headers:get("x-http-status"), headers:get("x-http-body")
  if body or status == "204" then
    from_headers(h, headers, status, body)
  elseif not status and tonumber(headers:get(":status")) >= 400 then
    from_trailers(h)
  else
    local wrapped = headers:get("x-http-unwrap")
    apply(headers, status, content_type == "application/json" and h:filterContext():get("json_type"))
    if wrapped then unwrap(h) end
  end
end
