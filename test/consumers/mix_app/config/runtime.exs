import Config

config :erlmcp_native, node: [sample_ms: 200]
