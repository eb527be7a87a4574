defmodule MixApp do
  @moduledoc "Uses the library as a project would. In a release: `bin/mix_app eval MixApp.check()`."

  @role :mix_role

  @doc "Runs a function while there is room."
  def with_room(fun) do
    case :erlmcp_queue_limits.with_capacity(@role, self(), fun) do
      {:ok, result} -> {:ok, result}
      {:error, {:capacity_exceeded, %{retry_after_ms: ms}}} -> {:busy, ms}
    end
  end

  @doc "Raises unless the library is here, configured, and counts."
  def check do
    {:ok, _} = Application.ensure_all_started(:mix_app)
    2 = :erlmcp_queue_limits.get_limit(@role)
    {:ok, {:ok, {:busy, _}}} = with_room(fn -> with_room(fn -> with_room(fn -> :never end) end) end)
    0 = :erlmcp_queue_limits.get_queue_depth(@role, self())
    IO.puts("mix_app: refused at the limit; library loaded from #{library()}")
  end

  # It must be the one beside this very application.
  defp library do
    beside = :mix_app |> :code.lib_dir() |> Path.dirname()
    library = Path.join(:code.priv_dir(:erlmcp_native), "erlmcp_native.so")
    true = String.starts_with?(library, "#{beside}/")
    true = File.regular?(library)
    library
  end
end
