defmodule MixApp.MixProject do
  use Mix.Project

  def project do
    [
      app: :mix_app,
      version: "1.0.0",
      start_permanent: Mix.env() == :prod,
      deps: [dependency()],
      releases: [mix_app: [include_erts: System.get_env("CONSUMER_ERTS") == "true"]]
    ]
  end

  def application do
    [extra_applications: [:logger], mod: {MixApp.Application, []}]
  end

  # Where it is comes from the environment; a real project writes one of these.
  defp dependency do
    case System.fetch_env!("CONSUMER_DEPENDENCY") do
      "git " <> url -> {:erlmcp_native, git: url, branch: "main", manager: :rebar3}
      "path " <> path -> {:erlmcp_native, path: path, manager: :rebar3}
    end
  end
end
