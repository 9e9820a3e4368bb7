-- The same capture in Lua: request and response bodies up to 64 KB, header
-- blocks with the secret ones masked, the caller's key hashed, one XADD a
-- request with the module's fields, pushed by a timer over a cosocket.
-- bench/capture.pl sets `redis`.

local M = { redis = nil, queue = {}, armed = false }

local MAX = 65536
local masked = {
    authorization = true, ["proxy-authorization"] = true, cookie = true,
    ["set-cookie"] = true, ["x-api-key"] = true,
}

local function masked_block(headers)
    local out, n = {}, 0
    for name, value in pairs(headers) do
        if masked[string.lower(name)] then
            value = "***"
        end
        if type(value) == "table" then
            value = table.concat(value, ", ")
        end
        n = n + 1
        out[n] = name .. ": " .. value .. "\r\n"
    end
    return table.concat(out)
end

local function command(fields)
    local out = { "*", #fields + 3,
        "\r\n$4\r\nXADD\r\n$13\r\nidash:capture\r\n$1\r\n*\r\n" }
    local n = 3
    for i = 1, #fields do
        local text = tostring(fields[i])
        out[n + 1] = "$"
        out[n + 2] = #text
        out[n + 3] = "\r\n"
        out[n + 4] = text
        out[n + 5] = "\r\n"
        n = n + 5
    end
    return table.concat(out)
end

local function flush()
    local sock = ngx.socket.tcp()
    sock:settimeout(5000)
    if not sock:connect(M.redis) then
        M.armed = false
        return
    end
    while #M.queue > 0 do
        local batch = M.queue
        M.queue = {}
        if not sock:send(batch) then
            break
        end
        for _ = 1, #batch do
            if not sock:receive() then
                break
            end
        end
    end
    sock:setkeepalive(10000, 4)
    M.armed = false
end

function M.access()
    ngx.req.read_body()
    ngx.ctx.request_body = ngx.req.get_body_data()
end

function M.body()
    local ctx = ngx.ctx
    local chunk = ngx.arg[1]
    local size = ctx.size or 0
    if #chunk > 0 and size < MAX then
        local parts = ctx.parts
        if not parts then
            parts = {}
            ctx.parts = parts
        end
        parts[#parts + 1] = string.sub(chunk, 1, MAX - size)
    end
    ctx.size = size + #chunk
end

function M.log()
    local v, ctx = ngx.var, ngx.ctx
    local key = v.http_x_api_key
    M.queue[#M.queue + 1] = command({
        "v", 1, "id", v.request_id, "kind", "api",
        "start", ngx.req.start_time(), "duration", v.request_time,
        "method", v.request_method, "host", v.host, "uri", v.request_uri,
        "protocol", v.server_protocol, "status", v.status,
        "route", "/lua/", "action", 57,
        "key", key and ngx.encode_base64(ngx.sha1_bin(key)) or "",
        "client", v.remote_addr, "port", v.remote_port,
        "upstream", v.upstream_addr, "upstream_status", v.upstream_status,
        "upstream_time", v.upstream_response_time,
        "request_bytes", v.request_length, "response_bytes", ctx.size or 0,
        "request_headers", masked_block(ngx.req.get_headers(0)),
        "response_headers", masked_block(ngx.resp.get_headers(0)),
        "request_body", string.sub(ctx.request_body or "", 1, MAX),
        "response_body", ctx.parts and table.concat(ctx.parts) or "",
    })
    if not M.armed then
        M.armed = true
        ngx.timer.at(0, flush)
    end
end

return M
