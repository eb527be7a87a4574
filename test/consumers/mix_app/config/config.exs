import Config

# Keyword lists where the documentation has maps, nested ones too.
config :erlmcp_native,
  queue_limits: [mix_role: 2, mix_wait: {:wait, 500, [min: 5]}],
  overload: [check_interval: 2_000, realert_interval: 30_000],
  reserve: [mix_role: [sheddable: 50]],
  rates: [mix_rate: [rate: {3, :minute}, burst: 3]],
  cancel: [tombstone_ms: 4_000]
